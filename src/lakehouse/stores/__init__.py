"""Clients of the servers, one module each; the rest of the kernel performs no I/O with them."""
