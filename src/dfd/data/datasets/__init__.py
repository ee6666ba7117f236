"""One file per dataset: `index(root, ...)` yields its records."""
