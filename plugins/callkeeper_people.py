"""Tells callkeeper's tasks which ids accounts have in Airflow: a question names its people by id, and Airflow's own API tells none.

``GET /callkeeper-people/ids?account=officer&account=deputy`` → ``{"officer": "3", "deputy": "4"}``; an account that is not there, or
not active, is left out. For whoever may read Users: the account of the connection callkeeper_airflow. Runs in the api-server.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.providers.fab.auth_manager.api_fastapi.security import requires_fab_custom_view
from fastapi import Depends, FastAPI, Query

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/ids", dependencies=[Depends(requires_fab_custom_view("GET", "Users"))])
def ids(account: Annotated[list[str], Query(max_length=100)]) -> dict[str, str]:
    """The ids of these accounts."""
    from airflow.providers.fab.auth_manager.models import User
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(select(User.username, User.id).where(User.username.in_(account), User.active))
        return {name: str(number) for name, number in rows}


class CallkeeperPeople(AirflowPlugin):
    name = "callkeeper_people"
    fastapi_apps: ClassVar = [{"app": app, "url_prefix": "/callkeeper-people", "name": "callkeeper_people"}]
