"""The operator's tool `inglenook`: it talks to the cluster through the stubs, like any other caller."""
