"""The report: what a runtime and its sessions are doing and waiting for, in names and numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pydantic import JsonValue

from salon.handle import PRIORITIES

if TYPE_CHECKING:
    from salon.machinery import Machinery
    from salon.resident import Resident
    from salon.turn_envelope import TurnEnvelope
    from salon_actors import RunningTurn


def stats(machinery: Machinery) -> dict[str, JsonValue]:
    """Counters since `open`, and how things stand now."""
    scheduler, outbox, now = machinery.scheduler, machinery.outbox, machinery.clock.monotonic()
    messages, size_bytes = scheduler.totals
    return {
        **machinery.counters.shown(),
        "sessions_resident": len(machinery.residents),
        "sessions_ready": scheduler.ready_count,
        "sessions_parked_now": len(machinery.mishaps.parking.parked(now)),
        "types_not_activated": len(machinery.residents.breaker.open_types(now)),
        "messages_waiting": messages,
        "bytes_waiting": size_bytes,
        "turns_running": len(scheduler.running()),
        "turns_behind_the_gate": scheduler.held_count,
        "bytes_behind_the_gate": machinery.limits.gate_bytes,
        "slots_taken": scheduler.slots_taken,
        "outgoing_waiting": outbox.depth,
        "outgoing_running": outbox.running,
        "workers": scheduler.worker_count,
        "workers_retired": sum(scheduler.retired.values()),
        "store_is_well": machinery.health.is_well,
    }


def explain(machinery: Machinery, resident: Resident) -> dict[str, JsonValue]:
    """What a session is doing and waiting for; nothing that was said."""
    scheduler, mishaps, now = machinery.scheduler, machinery.mishaps, machinery.clock.monotonic()
    waiting = Counter(envelope.priority for envelope in scheduler.waiting(resident))
    running = next((turn for turn in scheduler.running() if turn.actor is resident), None)
    return {
        "phase": resident.phase.value,
        "waiting": resident.depth,
        "waiting_by_priority": {name: waiting[number] for name, number in PRIORITIES.items()},
        "waiting_bytes": resident.waiting_bytes,
        "oldest_age_s": scheduler.oldest_age(resident, now) if resident.depth else None,
        "suspended": resident.is_suspended,
        "parked_s": mishaps.parking.rest_s(resident.sid, now),
        "rests_s": mishaps.rest_s(resident),
        "outgoing_waiting": machinery.outbox.depth_of(resident),
        "version": resident.image.version,
        "lifecycle": resident.row().lifecycle,
        "needs_reload": resident.is_stale,
        "turn": None if running is None else _turn(running, now, machinery.settings.stuck_after_s),
    }


def _turn(running: RunningTurn[Resident, TurnEnvelope], now: float, stuck_after_s: float) -> dict[str, JsonValue]:
    envelope = running.envelope
    late_s = max(0.0, now - envelope.deadline)
    return {
        "id": envelope.turn_id,
        "handler": envelope.handler.name,
        "attempt": 1 if envelope.sending is None else envelope.sending.attempt,
        "running_s": max(0.0, now - running.started_at),
        "late_s": late_s,
        "cancelled": running.cancelled,
        "stuck": running.cancelled is not None and late_s >= stuck_after_s,
    }
