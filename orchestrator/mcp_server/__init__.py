"""`burst mcp`: burst as tools of an agent, over the Model Context Protocol. Nothing else imports its SDK.

tools says what an agent may do, and calls the library; bursts runs `burst run` as a process, because that may be killed
or hang while this one goes on; answers keeps every answer small and in time; files says which files may be read.
"""
