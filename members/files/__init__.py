"""Member files, on the engine of project/imports.

importing   which column holds what; members beside those that are registered
models      an uploaded file; it goes when a member whom it names is erased
admin       its pages
"""
