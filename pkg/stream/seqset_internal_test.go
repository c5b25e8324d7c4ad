package stream

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSeqsetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model := seqset{}, map[uint64]bool{}
		seqs := rapid.SliceOf(rapid.Uint64Range(0, 3*chunkSeqs)).Draw(t, "seqs")
		for _, seq := range seqs {
			s.add(seq)
			model[seq] = true
		}
		floor := rapid.Uint64Range(0, 3*chunkSeqs).Draw(t, "floor")
		s.dropBelow(floor)
		for seq := range uint64(3*chunkSeqs + 2) {
			if seq > floor && s.has(seq) != model[seq] || !model[seq] && s.has(seq) {
				t.Fatalf("%d: has %v, want %v; floor %d", seq, s.has(seq), model[seq], floor)
			}
		}
		for chunk := range s {
			if (chunk+1)*chunkSeqs-1 <= floor {
				t.Fatalf("chunk %d is kept, floor %d", chunk, floor)
			}
		}
	})
}
