"""The power-cut sweep: every cut of every update, on the VM, against the device's own loader and
updater.
"""
