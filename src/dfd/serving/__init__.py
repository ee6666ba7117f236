"""A server that judges strangers' files: jobs that survive, an API, a page; and folders without a server."""
