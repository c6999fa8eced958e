"""The fault drill: the whole stack under one fault after another (`make chaos`)."""
