"""What the tests of the console in a browser and its screenshots share: stores, servers, and the browser."""
