"""A language model on the OpenAI wire: a scripted one and a small real one."""
