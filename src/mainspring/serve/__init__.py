"""The HTTP door: one module a dialect over one internal form, and the chat page."""
