"""The memory that a call allocates, exactly: torch's own record of every block that it takes and gives back."""

import gc

from torch.profiler import ProfilerActivity, profile


def peak_bytes(call):
    """What a call returns, and the most bytes of tensors that it held at once of those that it allocated.

    Blocks count by the size that they were asked for, and none that was there before counts. The collector is off: what
    only it would free is held. Of two calls the lesser counts: what the first use of torch's own parts takes is none of
    the call's.
    """
    (_, first), (found, second) = _peak_bytes(call), _peak_bytes(call)
    return found, min(first, second)


def _peak_bytes(call):
    gc.collect()
    gc.disable()
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            found = call()
    finally:
        gc.enable()
    held, late, total, peak = {}, set(), 0, 0
    for event in sorted(_events(record), key=lambda event: event.start_time_ns):
        block = event.typed[1]
        if block.alloc_size > 0:
            if block.ptr in held:  # given back before, by an event that comes later: their clock is coarse
                total -= held[block.ptr]
                late.add(block.ptr)
            held[block.ptr] = block.alloc_size
            total += block.alloc_size
            peak = max(peak, total)
        elif block.ptr in late:
            late.remove(block.ptr)
        else:
            total -= held.pop(block.ptr, 0)
    return found, peak


def _events(record):
    waiting = record.profiler.kineto_results.experimental_event_tree()
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag.name == "Allocation":
            yield event
