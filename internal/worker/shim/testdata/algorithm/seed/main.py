import Algorithmia
from Algorithmia import ADK
def apply(input):
    Algorithmia.client().file("data://COLLECTION_OWNER/COLLECTION_NAME/" + input.get("filename")).put(input.get("data"))
algorithm = ADK(apply)
algorithm.init("Algorithmia")
