package stream

// A seqset is a set of sequence numbers: a bit for each, in chunks that exist
// where something is in the set. What a chain has finished lies close together,
// so that a million events take 125 KB, however long one event holds the floor
// below them.
type seqset map[uint64]*[chunkWords]uint64

const (
	chunkWords = 64
	chunkSeqs  = chunkWords * 64
)

func (s seqset) add(seq uint64) {
	c := s[seq/chunkSeqs]
	if c == nil {
		c = new([chunkWords]uint64)
		s[seq/chunkSeqs] = c
	}
	c[seq%chunkSeqs/64] |= 1 << (seq % 64)
}

func (s seqset) has(seq uint64) bool {
	c := s[seq/chunkSeqs]
	return c != nil && c[seq%chunkSeqs/64]&(1<<(seq%64)) != 0
}

// dropBelow forgets what is at or below the floor, chunk by chunk: up to a chunk
// of it stays.
func (s seqset) dropBelow(floor uint64) {
	for chunk := range s {
		if (chunk+1)*chunkSeqs <= floor+1 {
			delete(s, chunk)
		}
	}
}
