"""A server that judges strangers' files: jobs that survive, an API, a page; and the same for folders without a server."""
