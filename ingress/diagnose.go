package ingress

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/belay-hooks/belay/pkg/receiver"
)

// undiagnosed is the cause of what is refused beyond the rates below.
const undiagnosed receiver.Cause = "undiagnosed"

// newDiagnoses is how many refusals a second are looked into: of a source, so
// that one that is flooded does not hide what is wrong with another.
func newDiagnoses() *rate.Limiter {
	return rate.NewLimiter(diagnosesOfSource, diagnosesOfSource)
}

// diagnose finds out why a receiver refused a request. It says only that much
// where too many are refused: what costs a hundred times as much as a refusal
// must not be had by sending rubbish.
func (s *Server) diagnose(x *exchange, r *receiver.Refusal) receiver.Diagnosis {
	if !x.source.diagnoses.Allow() || !s.diagnoses.Allow() {
		return receiver.Diagnosis{Cause: undiagnosed}
	}
	var others []*receiver.Source
	for name, one := range *s.sources.Load() {
		if one.Receiver() == x.source.Receiver() && name == one.Name() {
			others = append(others, one.Source)
		}
	}
	return x.source.Diagnose(receiver.Case{
		Request: x.called, Body: x.body, Now: time.Now(), Refusal: r, Others: others, Work: diagnosisWork,
	})
}
