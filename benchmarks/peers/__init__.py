"""Peers: the same chat turn by other libraries, in an interpreter that has them; salon is not imported there.

They are no dependencies of this project. Nothing here installs anything.
"""

import json
import subprocess
from pathlib import Path

PROGRAMS = {"openai-agents": "openai_agents", "langgraph": "langgraph_saver", "google-adk": "google_adk"}
HOW_TO = """Name an interpreter that has the peers. To make one that can be thrown away:

  python3 -m venv /tmp/salon-peers
  /tmp/salon-peers/bin/pip install openai-agents langgraph langgraph-checkpoint-sqlite
  /tmp/salon-peers/bin/pip install google-adk "sqlalchemy[asyncio]" aiosqlite
  python -m benchmarks chat_turn --peers /tmp/salon-peers/bin/python"""
ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 300


class PeerFailed(Exception):
    """Why there is no figure of a peer."""


def turns_per_s(python: str, peer: str, folder: Path, sessions: int, history: int, seconds: float) -> float:
    """Of `sessions` at a time, each with `history` lines to begin with.

    Raises:
        PeerFailed: It is not installed there, or takes too long.
    """
    program = f"{__name__}.{PROGRAMS[peer]}"
    command = [python, "-m", program, str(folder), str(sessions), str(history), str(seconds)]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"took over {TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        raise PeerFailed(error.stderr.strip().splitlines()[-1][:60]) from error
    return float(json.loads(done.stdout.splitlines()[-1])["per_s"])
