def power_up():
    pass
