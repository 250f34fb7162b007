// Makes the replica set and identity's user, or finds them made: it runs at
// every start and may run twice at once.
const fs = require("fs");
const secret = (name) => fs.readFileSync("/run/secrets/" + name, "utf8").trim();

const admin = db.getSiblingDB("admin");
admin.auth("root", secret("mongo_root_password"));

try {
  rs.initiate({ _id: "earlybird", members: [{ _id: 0, host: "mongodb:27017" }] });
} catch (err) {
  if (err.codeName !== "AlreadyInitialized") throw err;
}
const deadline = Date.now() + 60000;
while (!admin.hello().isWritablePrimary) {
  if (Date.now() > deadline) throw new Error("the replica set has no primary after 60 s");
  sleep(200);
}

// What identity and the command line may do, as deploy/docs/operations.md lists
// it. readWrite lacks collMod, by which identity changes how long login attempts
// are kept.
const earlybird = db.getSiblingDB("earlybird");
const role = {
  privileges: [{ resource: { db: "earlybird", collection: "logins" }, actions: ["collMod"] }],
  roles: [{ role: "readWrite", db: "earlybird" }],
};
try {
  earlybird.createRole({ role: "earlybird", ...role });
} catch (err) {
  if (err.code !== 51002) throw err; // there is such a role
  earlybird.updateRole("earlybird", role);
}

const user = { pwd: secret("mongo_password"), roles: [{ role: "earlybird", db: "earlybird" }] };
try {
  admin.createUser({ user: "earlybird", ...user });
} catch (err) {
  if (err.code !== 51003) throw err; // there is such a user
  admin.updateUser("earlybird", user);
}
print("replica set and user are ready");
