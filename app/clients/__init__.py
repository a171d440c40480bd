"""Two load clients, gevent with requests and asyncio with aiohttp, and their comparison."""
