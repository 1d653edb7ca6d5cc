# The loader never returns, except in safe mode.
import loader.start

loader.start.run()
