// Verifies requests with the official library: reads {secret, headers, body} by the line, answers "ok" or the error.
const path = require("node:path");
const readline = require("node:readline");
const { Webhook } = require(require.resolve("standardwebhooks", { paths: [path.resolve(process.argv[2])] }));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { secret, headers, body } = JSON.parse(line);
  try {
    new Webhook(secret).verify(body, headers);
    console.log("ok");
  } catch (error) {
    console.log(String(error.message));
  }
});
