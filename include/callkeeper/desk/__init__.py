"""The privacy desk: a page in Airflow's menu, for the officer, her deputies and the approver.

Server-rendered, and it works without a script. Who is logged in, Airflow says; what they may do, [people] in force. Nothing
personal is in an address, a title or a log: what is typed travels in a form's body.
"""
