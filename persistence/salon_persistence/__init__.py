"""Where sessions are kept: stores, journal, codec. It speaks of keys, versions and bytes, not of actors."""
