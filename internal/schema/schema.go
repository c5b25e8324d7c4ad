// Package schema holds the JSON schemas of the configuration file and of a
// receiver's file, for editors. They are made from the structs that the files are
// read into, by this package's test.
package schema

import _ "embed" // the schemas

// Config is the schema of the configuration file.
//
//go:embed belay.json
var Config []byte

// Receiver is the schema of a file that holds one receiver.
//
//go:embed receiver.json
var Receiver []byte
