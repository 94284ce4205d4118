"""A bot that streams its answers; a phone that loses its connection and reads on, a stop button, a tablet that watches.

phone (`device`)  -- say, stop -->  web  -- tell, stop -->  bot
                  <-- events -----       <-- attach ------
tablet (`device`) <-- events -----       <-- watch -------
afterwards `compare` holds both screens against the transcript, and asks for every outcome again after a restart
"""
