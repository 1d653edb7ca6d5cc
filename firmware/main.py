# The loader never returns, except in safe mode.
import loader.start

loader.start.run()
# Perhaps what is in the slots goes with the runtime in the other partition (ESP32 with OTA, after
# an application was rolled back): start that one, but not again when it is where we come from.
safe = loader.start.safe
if safe.reason != "runtime" and "runtime-running" in str(safe.evidence()):
    try:
        from esp32 import Partition

        Partition(Partition.RUNNING).get_next_update().set_boot()
        safe.plan_reset("runtime")
        safe.reset()
    except (ImportError, OSError):
        pass
