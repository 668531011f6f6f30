"""The live page: its queries, the server-sent event stream, and static files."""
