package receiver

import "slices"

// told is the diagnosis where nothing can be tried: of tokens, of what is signed
// with the keys of the sender, and of who must be asked.
func (s *Source) told(c Case) (Diagnosis, bool) {
	detail := c.Refusal.Detail
	switch c.Refusal.Reason {
	case ClaimWrong:
		return Diagnosis{CauseClaim, detail, "Compare the parameters of the source with what is entered at the provider. Where the URL is part of the token, look at BELAY_PUBLIC_URL and the proxies before Belay."}, true
	case KeysUnavailable, ProviderUnavailable:
		return Diagnosis{CauseProvider, detail, "Let Belay reach this host over HTTPS. The sender is told to send again later."}, true
	}
	if len(s.secrets) > 0 && !slices.ContainsFunc(s.signatures, func(sig *signature) bool { return sig.token != nil || sig.callback != nil }) {
		return Diagnosis{}, false
	}
	switch c.Refusal.Reason {
	case TimestampStale, TimestampFuture:
		return Diagnosis{CauseClock, detail, "Look at this machine's clock, and whether something holds requests back. A copied request is refused for this too."}, true
	case TimestampMissing, TimestampUnreadable, SignedMissing:
		return Diagnosis{CausePartMissing, detail, "Look whether a proxy drops it, and whether this is a request of " + s.receiver.Name + " at all."}, true
	case SignatureWrong:
		return Diagnosis{CauseOtherKey, detail, "Look whether the request is from " + s.receiver.Name + ", and whether something on the way changes its body. Where the source has secrets, compare them with the provider's."}, true
	}
	return Diagnosis{}, false
}
