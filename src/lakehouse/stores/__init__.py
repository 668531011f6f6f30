"""The only modules of the kernel that talk to servers, one per server."""
