// Package schema holds the JSON schemas of the configuration file and of a
// receiver's file, for editors. They are made from the structs that the files are
// read into, by this package's test.
package schema

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

//go:embed belay.json
var config []byte

//go:embed receiver.json
var receiver []byte

// place is where the names of the catalogue belong. They are not in the file, or
// each new receiver would change it.
const place = `"NAME"`

// Config is the schema of the configuration file, with the names of receivers
// for an editor to complete. Others are right too.
func Config(receivers []string) ([]byte, error) {
	names, err := json.Marshal(receivers)
	if err != nil {
		return nil, err
	}
	return bytes.Replace(config, []byte(place), bytes.Trim(names, "[]"), 1), nil
}

// Receiver is the schema of a file that holds one receiver.
func Receiver() []byte { return receiver }
