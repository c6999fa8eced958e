"""Long work in the background, whatever it is about.

models   a job: claimed, shown, resumed, undone
tasks    what a worker does with it
admin    what its pages share
"""
