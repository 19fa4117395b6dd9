"""Bursts on many hosts, started by Procrastinate, a task engine on the PostgreSQL of the state. Extra `[fleet]`.

The engine decides when a burst runs and where; what is done and what is due is in the state alone.
"""
