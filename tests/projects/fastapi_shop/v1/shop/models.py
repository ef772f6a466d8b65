"""The tables."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .db import Base


class Item(Base):
    """What is sold."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int]
    orders: Mapped[list["Order"]] = relationship(back_populates="item")

    def label(self) -> str:
        """As it is shown."""
        return f"{self.name} for {self.price}"


class Order(Base):
    """Who has bought what."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    count: Mapped[int]
    item: Mapped[Item] = relationship(back_populates="orders")
