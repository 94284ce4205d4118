"""A webhook bot: every update comes twice, some late, some out of order, and the process is killed in the middle.

platform (`__main__`, platform, hook)             bot process (server, bot)
sends each update, at least twice   -- update -->  tells it to its chat, under the update's id as key
                                    <-- ok ------  it is in the durable inbox
shows each answer once, by its key  <-- send ----  the outbox delivers, after the commit
                                    -- sent ---->
SIGKILL in the middle, start again  ---------->
reads the file, and counts effects and answers (`count`)
"""
