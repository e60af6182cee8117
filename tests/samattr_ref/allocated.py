"""The memory that a call allocates, exactly: torch's own record of every block that it takes and gives back."""

import gc

from torch.profiler import ProfilerActivity, profile


def peak_bytes(call):
    """What a call returns, and the most bytes of tensors that it held at once of those that it allocated.

    Blocks count by the size that they were asked for, and none that was there before counts. The collector is off: what
    only it would free is held.
    """
    gc.collect()
    gc.disable()
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            found = call()
    finally:
        gc.enable()
    held, total, peak = {}, 0, 0
    for event in sorted(_events(record), key=lambda event: event.start_time_ns):
        block = event.typed[1]
        if block.alloc_size > 0:
            assert block.ptr not in held
            held[block.ptr] = block.alloc_size
            total += block.alloc_size
            peak = max(peak, total)
        else:
            total -= held.pop(block.ptr, 0)
    return found, peak


def _events(record):
    """Every block taken and given back, those of the same moment in their order: the record's clock is coarse."""
    waiting = record.profiler.kineto_results.experimental_event_tree()[::-1]
    while waiting:
        event = waiting.pop()
        waiting += event.children[::-1]
        if event.tag.name == "Allocation":
            yield event
