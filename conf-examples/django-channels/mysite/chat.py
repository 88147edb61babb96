"""The chat: what one client says, all clients get."""

from channels.generic.websocket import AsyncWebsocketConsumer


class Chat(AsyncWebsocketConsumer):
    groups = ("chat",)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("chat", {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(text_data=event["text"])
