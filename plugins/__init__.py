"""What differs from site to site: the ports, and our own plugs for them."""
