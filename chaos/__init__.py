"""The whole works under every fault that can be caused: `make chaos`."""
