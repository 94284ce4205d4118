"""salon: a session runtime for chatbots, embedded in your process.

Every conversation is a Session, an actor that owns its typed state and handles one Message at a time.
A turn is a transaction: state, history and reply are committed together, and the reply leaves when they are durable.
A Runtime opens a store and hands out SessionHandles; after a crash every conversation is there again.
What a handler sees is in `session` and `turn`, what a caller holds in `handle`, what can go wrong in `errors`.
"""

from salon.chance import Chance as Chance
from salon.chance import SystemChance as SystemChance
from salon.conversation import ChatLine as ChatLine
from salon.conversation import Conversation as Conversation
from salon.conversation import Role as Role
from salon.dead_letters import DeadLetter as DeadLetter
from salon.dead_letters import DeadLetters as DeadLetters
from salon.dead_letters import OpenedLetter as OpenedLetter
from salon.deliver import deliver as deliver
from salon.delivery import Delivery as Delivery
from salon.errors import CapacityExceeded as CapacityExceeded
from salon.errors import ConfigurationError as ConfigurationError
from salon.errors import Corrupt as Corrupt
from salon.errors import DeadLetterNotFound as DeadLetterNotFound
from salon.errors import DeadlockError as DeadlockError
from salon.errors import Draining as Draining
from salon.errors import Fenced as Fenced
from salon.errors import IdempotencyConflict as IdempotencyConflict
from salon.errors import InvalidSessionId as InvalidSessionId
from salon.errors import MailboxFull as MailboxFull
from salon.errors import MessageInvalid as MessageInvalid
from salon.errors import NameTaken as NameTaken
from salon.errors import NoHandler as NoHandler
from salon.errors import NotApplied as NotApplied
from salon.errors import OutcomeUnknown as OutcomeUnknown
from salon.errors import PayloadTooLarge as PayloadTooLarge
from salon.errors import RateLimited as RateLimited
from salon.errors import Refused as Refused
from salon.errors import ReplayIncomplete as ReplayIncomplete
from salon.errors import ReplyTimeout as ReplyTimeout
from salon.errors import RuntimeNotRunning as RuntimeNotRunning
from salon.errors import SalonError as SalonError
from salon.errors import SchemaTooNew as SchemaTooNew
from salon.errors import SessionBusy as SessionBusy
from salon.errors import SessionNotFound as SessionNotFound
from salon.errors import SessionParked as SessionParked
from salon.errors import StateInvalid as StateInvalid
from salon.errors import StoreInUse as StoreInUse
from salon.errors import StoreUnavailable as StoreUnavailable
from salon.errors import TurnFailed as TurnFailed
from salon.errors import TurnInterrupted as TurnInterrupted
from salon.errors import TurnOver as TurnOver
from salon.errors import TurnStopped as TurnStopped
from salon.errors import TurnSuperseded as TurnSuperseded
from salon.errors import TurnTimeout as TurnTimeout
from salon.frame import current_turn as current_turn
from salon.handle import SessionHandle as SessionHandle
from salon.info import SessionInfo as SessionInfo
from salon.log import Log as Log
from salon.message import Message as Message
from salon.outgoing import Outgoing as Outgoing
from salon.page import Page as Page
from salon.receive import Receiver as Receiver
from salon.receive import receive as receive
from salon.runtime import Runtime as Runtime
from salon.session import Session as Session
from salon.settings import Durability as Durability
from salon.settings import Settings as Settings
from salon.turn import Turn as Turn
from salon.view import SessionView as SessionView
from salon_actors import Clock as Clock
from salon_actors import Ready as Ready
from salon_actors import SystemClock as SystemClock
from salon_persistence.records import Lifecycle as Lifecycle
from salon_persistence.store import Store as Store
