// Package console will be the operator's web page and its read API: what came
// in, what each chain did with it, what went out. It is not built yet. This
// comment keeps its place in the house.
package console
