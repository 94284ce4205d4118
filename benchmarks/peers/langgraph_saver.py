"""langgraph: a graph of one node with AsyncSqliteSaver, `durability="sync"`; the state is read back after each turn."""

import asyncio
from importlib import import_module
from typing import Any

from benchmarks.peers.chatting import ANSWERED, READ_BACK, SAID, Task, chat, task

messages: Any = import_module("langchain_core.messages")
savers: Any = import_module("langgraph.checkpoint.sqlite.aio")
graphs: Any = import_module("langgraph.graph")


async def answer(state: Any) -> Any:
    return {"messages": [messages.AIMessage(ANSWERED)]}


async def main(asked: Task) -> None:
    builder = graphs.StateGraph(graphs.MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(graphs.START, "answer")
    async with savers.AsyncSqliteSaver.from_conn_string(str(asked.folder / "langgraph.db")) as saver:
        graph: Any = builder.compile(checkpointer=saver)

        def config(number: int) -> Any:
            return {"configurable": {"thread_id": f"s{number}"}}

        for number in range(asked.sessions):
            lines = [
                messages.HumanMessage(SAID) if n % 2 == 0 else messages.AIMessage(SAID) for n in range(asked.history)
            ]
            await graph.aupdate_state(config(number), {"messages": lines}, as_node="answer")

        async def turn(number: int) -> None:
            await graph.ainvoke({"messages": [messages.HumanMessage(SAID)]}, config(number), durability="sync")
            read = (await graph.aget_state(config(number))).values["messages"][-READ_BACK:]
            assert read[-1].content == ANSWERED

        await chat(asked, turn)


asyncio.run(main(task()))
