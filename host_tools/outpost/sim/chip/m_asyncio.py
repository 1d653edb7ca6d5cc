"""`_asyncio`: the task queue and tasks on virtual time.

The VM's own C version reads the host's clock, which virtual time leaves behind; asyncio.core takes
this module instead.  A queue is a list linked through the tasks, sorted by due time, first come
first served; a board has some ten tasks.
"""

from .m_time import ticks_diff, ticks_ms


class TaskQueue:
    def __init__(self):
        self.head = None

    def peek(self):
        return self.head

    def push(self, task, key=None):
        task.data = None
        task.ph_key = key = ticks_ms() if key is None else key
        before = self.head
        if before is None or ticks_diff(key, before.ph_key) < 0:
            task.next = before
            self.head = task
            return
        after = before.next
        while after is not None and ticks_diff(key, after.ph_key) >= 0:
            before = after
            after = before.next
        before.next = task
        task.next = after

    def pop(self):
        task = self.head
        self.head = task.next
        task.next = None
        return task

    def remove(self, task):
        if self.head is task:
            self.pop()
            return
        before = self.head
        while before is not None and before.next is not task:
            before = before.next
        if before is not None:
            before.next = task.next
            task.next = None


class Task:
    """As asyncio's: `state` is True while running, None or False when done, or who waits."""

    def __init__(self, coro, context=None):
        self.coro = coro
        self.data = None
        self.state = True
        self.ph_key = 0
        self.next = None
        self.context = context

    def __iter__(self):
        if not self.state:
            self.state = False
        elif self.state is True:
            self.state = TaskQueue()
        elif type(self.state) is not TaskQueue:
            raise RuntimeError("can't wait")
        return self

    def __next__(self):
        if not self.state:
            raise self.data
        waiting = self.context["cur_task"]
        self.state.push(waiting)
        waiting.data = self

    def done(self):
        return not self.state

    def cancel(self):
        if not self.state:
            return False
        if self is self.context["cur_task"]:
            raise RuntimeError("can't cancel self")
        while isinstance(self.data, Task):  # forward to what it waits on
            self = self.data
        queue = self.context["_task_queue"]
        if hasattr(self.data, "remove"):
            self.data.remove(self)
            queue.push(self)
        elif ticks_diff(self.ph_key, ticks_ms()) > 0:
            queue.remove(self)
            queue.push(self)
        self.data = self.context["CancelledError"]
        return True
