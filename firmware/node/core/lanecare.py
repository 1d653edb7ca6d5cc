"""What a lane of the outbox needs rarely: recovery after a boot, and giving way when it is full.

Apart from `node.core.lane`, so that it need not be in memory all the time.
"""

from micropython import const
from node.core import frame as frames
from node.core.segment import Segment, parse_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from node.core.lane import Lane

_MASK = const(0xFFFFFFFF)
_STRIDE_MAX = const(0xFFFF)  # of a batch: what bounds how often it can be thinned


def recover(lane: "Lane", state: "list[int] | None") -> None:
    """Find the queue again; `state` is what `state()` gave before the power went, or None."""
    first = 0
    if state is not None:
        first = state[0]
        lane.head = (state[0], state[1])
        lane.delivered, lane.given_up, lane.head_position = state[2:5]
    _adopt(lane, first)
    known = state is not None
    if lane.segments and lane.segments[0].number > lane.head[0]:
        lane.head = (lane.segments[0].number, 0)
        known = known and state is not None and state[1] == 0
    lane.tail = max(lane.head[0], lane.segments[-1].number if lane.segments else 0)
    lane.position = lane.head_position
    _find_tail(lane)
    _count_queue(lane, known)
    lane.send, lane.send_position = lane.head, lane.head_position


def _adopt(lane: "Lane", first: int) -> None:
    """List the segments from `first` on; remove what stands for nothing."""
    for name in sorted(lane.storage.listdir(lane.folder)):
        if name[:1] != lane.letter:
            continue
        segment = parse_name(name)
        if segment is None or segment.number < first:
            lane.storage.remove(lane.folder + "/" + name)
            continue
        # A thinned segment sorts behind the originals that it stands for.
        while lane.segments and lane.segments[-1].number >= segment.first:
            lane.storage.remove(lane.path(lane.segments.pop()))
        lane.segments.append(segment)
    # A file that was created and never closed is empty: the cut came before its first record.
    while lane.segments and lane.size(lane.segments[-1].number) == 0:
        lane.storage.remove(lane.path(lane.segments.pop()))


def _find_tail(lane: "Lane") -> None:
    """Walk the last segment to its end; a damaged one is not written to again."""
    size = lane.tail_size = lane.size(lane.tail)
    end = 0
    for frame in lane.frames(lane.tail, 0):
        lane.position = frame.next_position
        end += frames.HEAD + frame.size
        if end == size:
            return
    if size:
        lane.new_tail()


def _count_queue(lane: "Lane", known: bool) -> None:
    """What lies between head and tail; without a state the head is the first frame found."""
    hidden = 0
    for segment in lane.segments:
        if segment.number > lane.head[0] and known:
            hidden += segment.lost
            continue
        at = lane.head[1] if segment.number == lane.head[0] else 0
        for frame in lane.frames(segment.number, at):
            hidden += frame.span - frame.samples
            if not known:
                lane.head_position, known = frame.position, True
    if not known:
        lane.head_position = lane.position
    lane.queued = max(0, (lane.position - lane.head_position & _MASK) - hidden)


def drop_oldest(lane: "Lane") -> int:
    """Give up the oldest segment on flash: the samples it costs. Then save, and `sweep`."""
    if not lane.segments:
        return 0
    number = lane.segments[0].number
    if number == lane.tail:
        lane.flush()
        lane.new_tail()
    lost = 0
    at = lane.head[1] if lane.head[0] == number else 0
    for frame in lane.frames(number, at):
        lost += frame.samples
        lane.head_position = frame.next_position
    for sent in lane.sent:
        if sent.end[0] == number and not sent.gone:
            sent.gone = True
            lost -= sent.samples if sent.acked else 0
    lane.queued -= lost
    lane.given_up += lost
    lane.head = max(lane.head, (lane.after(number), 0))
    if lane.send < lane.head:
        lane.send, lane.send_position = lane.head, lane.head_position
    lane.discard()
    return lost


def thinnable(lane: "Lane", keep: int) -> "list[Segment]":
    """The oldest run of `keep` segments of the finest level that nothing is reading."""
    best: list[Segment] = []
    for index in range(len(lane.segments) - keep + 1):
        run = lane.segments[index : index + keep]
        if run[0].number <= lane.send[0] or run[-1].number >= lane.tail:
            continue
        level = run[0].level
        coarsest = keep ** (level + 1) > _STRIDE_MAX
        if coarsest or any(segment.level != level for segment in run):
            continue
        if not best or level < best[0].level:
            best = run
    return best


def replace(lane: "Lane", run: "list[Segment]", merged: Segment, lost: int) -> None:
    """`merged` is on flash and stands for `run`."""
    at = lane.segments.index(run[0])
    lane.segments[at : at + len(run)] = [merged]
    lane.queued -= lost
    lane.cache.lane = None
    for segment in run:
        lane.storage.remove(lane.path(segment))
