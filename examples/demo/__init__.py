"""A chatbot process is killed in the middle of many conversations, and nothing is lost, doubled or mixed up.

parent (`__main__`, play, child)       chatbot process (server, bot)         checker process (checker)
plays conversations          -- ask -> embeds a Runtime, many sessions
records each reply           <- reply -
SIGKILL, start again, go on  -------->
hands on what was acknowledged --------------------------------------------> reads the file by `history`
"""
