"""The services of the Inglenook inference cluster, the libraries they stand on, and the command line."""
