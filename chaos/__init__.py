"""The whole stack under every fault that can be caused: `make chaos`."""
