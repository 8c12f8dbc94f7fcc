"""The sub-commands of the command line, one a file; heavy imports inside them."""
