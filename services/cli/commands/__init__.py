"""The commands of `inglenook`, one module each."""
