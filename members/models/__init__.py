from .dispatch import Dispatch
from .member import Member
from .welcome import WelcomeEmail, new_message_id

__all__ = ["Dispatch", "Member", "WelcomeEmail", "new_message_id"]
