package mongostore

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Deployment is what kind of server keeps the database.
type Deployment struct {
	Version  string
	FerretDB bool   // the embedded server of the local stack, or another FerretDB
	Set      string // name of the replica set, empty for a server alone
	Sharded  bool   // a mongos answers
	Members  int    // of the replica set that hold data; 0 when that is not told
}

// Deployment asks the server what it is. The error may be an *unavailable.Error.
func (s *Store) Deployment(ctx context.Context) (Deployment, error) {
	var hello struct {
		SetName string   `bson:"setName"`
		Msg     string   `bson:"msg"`
		Hosts   []string `bson:"hosts"`
	}
	var build struct {
		Version  string `bson:"version"`
		FerretDB any    `bson:"ferretdb"`
		Older    string `bson:"ferretdbVersion"`
	}
	for _, q := range []struct {
		command string
		into    any
	}{
		{"hello", &hello},
		{"buildInfo", &build},
	} {
		if err := s.db.RunCommand(ctx, bson.D{{Key: q.command, Value: 1}}).Decode(q.into); err != nil {
			return Deployment{}, classify(q.command, err)
		}
	}
	return Deployment{
		Version: build.Version, FerretDB: build.FerretDB != nil || build.Older != "",
		Set: hello.SetName, Sharded: hello.Msg == "isdbgrid", Members: len(hello.Hosts),
	}, nil
}
