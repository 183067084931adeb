"""Service: the one address for everything the cluster can do."""
